"""Strict protobuf: decoders and encoders that are compiled from betterproto2's metadata."""
