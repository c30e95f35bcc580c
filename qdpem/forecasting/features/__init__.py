"""What a node's own requests say about the demand of each of its peers."""
