// SPDX-License-Identifier: Apache-2.0
//
// Walks the GROUPS x CHUNKS folds of a matrix-vector product: a group is the PE output channels
// computed at once, a chunk the SIMD inputs taken at once.
//
//   GROUP_INNER 0: all chunks of group 0, then of group 1, ...  (needs the whole vector at hand)
//   GROUP_INNER 1: all groups of chunk 0, then of chunk 1, ...  (takes the vector as it comes)

`default_nettype none

module fold_counter #(
    parameter GROUPS      = 1,
    parameter CHUNKS      = 1,
    parameter GROUP_INNER = 0,
    parameter GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1,
    parameter CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire                   step,
    output reg  [GROUP_WIDTH-1:0] group,
    output reg  [CHUNK_WIDTH-1:0] chunk,
    output wire                   group_last,
    output wire                   chunk_last
);

    localparam [GROUP_WIDTH-1:0] GROUP_LAST = GROUPS[GROUP_WIDTH-1:0] - 1'b1;
    localparam [CHUNK_WIDTH-1:0] CHUNK_LAST = CHUNKS[CHUNK_WIDTH-1:0] - 1'b1;

    assign group_last = group == GROUP_LAST;
    assign chunk_last = chunk == CHUNK_LAST;

    wire group_step = step && ((GROUP_INNER != 0) || chunk_last);
    wire chunk_step = step && ((GROUP_INNER == 0) || group_last);

    always @(posedge clk) begin
        if (group_step)
            group <= group_last ? {GROUP_WIDTH{1'b0}} : group + 1'b1;
        if (chunk_step)
            chunk <= chunk_last ? {CHUNK_WIDTH{1'b0}} : chunk + 1'b1;
        if (rst) begin
            group <= 0;
            chunk <= 0;
        end
    end

endmodule

`default_nettype wire
