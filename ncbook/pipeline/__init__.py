"""The parts of the build: chapters, their execution, the site."""
