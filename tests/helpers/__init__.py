"""Small models, tasks, results and cases that tests of several folders share."""
