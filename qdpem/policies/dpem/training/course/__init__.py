"""The course of a training: what it carries from round to round, its curve, its checkpoint, its end."""
