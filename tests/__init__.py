"""Tests written from the promise: real files, real servers, real processes."""
