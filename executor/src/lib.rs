//! Where plans run and how bytes reach the online store
