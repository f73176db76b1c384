"""What ``trio-dispatch serve`` consists of."""
