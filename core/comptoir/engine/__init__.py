"""pull -> land -> map -> resolve -> derive -> plan -> deliver -> confirm. Runs unchanged from CLI and Airflow."""
