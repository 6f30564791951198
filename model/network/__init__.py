"""What a network is: its layers, its graph, its int8 weights and its exact reference."""
