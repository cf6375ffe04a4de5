"""The front door: randomization tests of anyone's model on anyone's data."""
