"""Thin links, described and emulated: rates and delays, wireless channels, a TCP forwarder that behaves like one."""
