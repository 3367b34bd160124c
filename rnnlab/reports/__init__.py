"""What a run shows: verdict, tables, figures, pages."""
