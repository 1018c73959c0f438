"""Speed, shown as ratios to a floor that runs beside it in the same run. Not tests: nothing here fails by the clock."""
