"""Pairs and the memories that hold them: ledger, memories, stock."""
