"""The parts of the WooCommerce sandbox; use it through `comptoir_woocommerce.sandbox`. Pure: no clock, no sockets."""
