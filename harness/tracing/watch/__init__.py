"""After shipping: a stream of production calls beside the figures that the gate shipped it on."""
