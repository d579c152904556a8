"""Who carries pieces of work out: local processes, Ray, torchrun, this process."""
