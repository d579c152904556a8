"""All that is owed: training, evaluation and the engines that run them."""
