"""From images to an int8 network: data sets, recipes, training, quantising."""
