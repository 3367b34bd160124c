"""What is measured of networks that read speech: transcripts of the test part, gradients in both directions."""
