"""What tests stand on: a scripted Electric on a real socket, and the whole proxy on real sockets."""
