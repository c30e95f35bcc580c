"""One allocation at work: admission, link generation, swaps, distillation, release."""
