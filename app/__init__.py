"""The Streamlit leaderboard: `suite app`."""
