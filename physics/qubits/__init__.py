"""One and two qubits: states, gates and channels."""
