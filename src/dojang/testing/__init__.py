"""Tokens for tests, real ones: what dojang is tested with, for people who test their own software with tokens."""
