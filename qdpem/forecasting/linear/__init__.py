"""Linear regression of the counts to come: regressors, and normal equations of every node."""
