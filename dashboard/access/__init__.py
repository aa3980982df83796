"""Who may enter the dashboard, and what they may do there."""
