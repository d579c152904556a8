"""What is pending of a study, and who does it: ledgers, jobs and engines."""
