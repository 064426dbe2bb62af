//! Native participants in meetings that the three real services hold.

mod churn;
mod hear;
mod house;
