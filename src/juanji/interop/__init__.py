"""juanji inside other libraries, each of which is optional."""
