"""Measurements of why a training goes well or badly."""
