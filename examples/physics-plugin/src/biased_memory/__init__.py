"""A physics model for qdpem: depolarising memories made to err in Z more often than in X and Y."""
