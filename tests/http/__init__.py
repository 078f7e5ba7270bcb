"""Tests of twisted_pipe.http."""
