//! Starts PostgreSQL and Redis for one test
