package usb

// MountAside is what old kernels get.
var MountAside = mountAside
