"""HTTP on a thin frame: routing index, guard, JSON at the door, problem+json. Knows no room."""
