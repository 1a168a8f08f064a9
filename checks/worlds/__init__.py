"""Simulated worlds in which the shipped policy and simpler ways of retrying are measured against an oracle."""
