//! Listing + layout -> topics, partitions and objects in numeric order.
