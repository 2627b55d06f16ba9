"""What is given: the network, the data and their arrangement of boundaries, the loss."""
