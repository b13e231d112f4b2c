"""Tests of the image and the compose files, without docker."""
