"""A physics model for qdpem: depolarising memories that err in Z more often than in X and Y."""
