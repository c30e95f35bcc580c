"""Physics models by name, as installed packages offer them."""
