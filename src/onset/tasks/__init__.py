"""The questions: tasks, their prompts and where their rows come from."""
