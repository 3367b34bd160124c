"""What translation probes measure: translations, gradients by source position, attention."""
