"""The examples hold what they show."""
