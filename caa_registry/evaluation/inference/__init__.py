"""How far figures are to be believed: intervals, tests, corrections, power. Knows numbers, no questions."""
