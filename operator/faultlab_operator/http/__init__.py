"""The operator's own pages: health, a run's live view, and what a run left behind."""
