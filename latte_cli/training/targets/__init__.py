"""What a network is trained to predict, where that takes more than the clip and its noise."""
