"""The page that tells a study's findings."""
