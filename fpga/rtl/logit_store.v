// SPDX-License-Identifier: Apache-2.0
//
// Takes what the network says about each image, at full speed: with `compare` low it keeps the
// logits, with `compare` high it compares them with those kept.
//
// One clock after an image's last beat `image_done` says so; beside it stands whether one of its
// logits differed. `misplaced` pulses where tlast is not on beat ceil(CLASSES / LOGIT_LANES).
// Afterwards the logits are read one after the other, with read_next between them.

`default_nettype none

module logit_store #(
    parameter CLASSES     = 10,  // logits an image
    parameter LOGIT_LANES = 1,   // logits a beat; those of the last beat beyond CLASSES do not count
    parameter CLASS_WIDTH = (CLASSES > 1) ? $clog2(CLASSES) : 1
) (
    input  wire                      clk,
    input  wire                      run,             // high while images go through the network
    input  wire                      compare,
    input  wire [32*LOGIT_LANES-1:0] s_axis_tdata,
    input  wire [CLASS_WIDTH-1:0]    s_axis_tuser,
    input  wire                      s_axis_tlast,
    input  wire                      s_axis_tvalid,
    output reg                       image_done = 1'b0,
    output wire                      image_differs,
    output reg                       misplaced  = 1'b0,
    output reg  [CLASS_WIDTH-1:0]    class_index = 0, // of the last image
    input  wire                      read,            // low: read_logit is the first
    input  wire                      read_next,
    output wire [31:0]               read_logit       // two clocks after read_next
);

    localparam WORDS      = (CLASSES + LOGIT_LANES - 1) / LOGIT_LANES;
    localparam WORD_LAST  = WORDS - 1;
    localparam ADDR_WIDTH = (WORDS > 1) ? $clog2(WORDS) : 1;
    localparam LANE_WIDTH = (LOGIT_LANES > 1) ? $clog2(LOGIT_LANES) : 1;
    localparam LANE_LAST  = LOGIT_LANES - 1;
    localparam LAST_LANES = CLASSES - WORD_LAST * LOGIT_LANES;  // that count in the last beat

    reg [ADDR_WIDTH-1:0]      word_reg = 0;      // the next beat, or the logit that is read
    reg [LANE_WIDTH-1:0]      lane_reg = 0;
    reg [LOGIT_LANES-1:0]     differ_reg = 0;    // lanes of the last beat that differ
    reg                       differs_reg = 0;   // beats before it in the same image did
    reg [LOGIT_LANES-1:0]     differ;

    wire                      beat      = run && s_axis_tvalid;
    wire                      last      = word_reg == WORD_LAST[ADDR_WIDTH-1:0];
    wire                      last_lane = lane_reg == LANE_LAST[LANE_WIDTH-1:0];
    reg  [ADDR_WIDTH-1:0]     next;
    wire [32*LOGIT_LANES-1:0] stored;

    always @* begin
        next = word_reg;
        if (!run && !read)
            next = 0;
        else if (beat || (read_next && last_lane))
            next = last ? {ADDR_WIDTH{1'b0}} : word_reg + 1'b1;
    end

    // Reading one word ahead: `stored` is that of word_reg.
    line_memory #(
        .WIDTH (32*LOGIT_LANES),
        .DEPTH (WORDS)
    ) kept (
        .clk        (clk),
        .write      (beat && !compare),
        .write_addr (word_reg),
        .write_data (s_axis_tdata),
        .read       (1'b1),
        .read_addr  (next),
        .read_data  (stored)
    );

    assign read_logit = stored[32*lane_reg +: 32];

    integer lane;
    always @*
        for (lane = 0; lane < LOGIT_LANES; lane = lane + 1)
            differ[lane] = beat && compare && !(last && lane >= LAST_LANES)
                           && stored[32*lane +: 32] != s_axis_tdata[32*lane +: 32];

    assign image_differs = |differ_reg || differs_reg;

    always @(posedge clk) begin
        image_done  <= beat && s_axis_tlast;
        misplaced   <= beat && s_axis_tlast != last;
        differ_reg  <= differ;
        differs_reg <= image_differs && run && !image_done;
        word_reg    <= next;
        if (!read)
            lane_reg <= 0;
        else if (read_next)
            lane_reg <= last_lane ? {LANE_WIDTH{1'b0}} : lane_reg + 1'b1;
        if (beat && s_axis_tlast)
            class_index <= s_axis_tuser;
    end

endmodule

`default_nettype wire
