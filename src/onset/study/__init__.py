"""What is to be done: frozen, typed specifications, their sizes and the named presets."""
