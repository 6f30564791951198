// SPDX-License-Identifier: Apache-2.0
//
// Max-pool on uint8.
//
//   y[c] = max over ky, kx of x[c][row + ky][col + kx]
//
// Padding is zero, which never exceeds a real value. Streams are in raster order, channel fastest,
// LANES channels a beat in and out; a position takes ceil(CHANNELS / LANES) beats. The taps of a
// window are compared in a tree, a level a clock.
// Cycles an image: one an input beat, or PACE a window where those are more.
// Equals model.reference.maxpool2d.

`default_nettype none

module maxpool2d #(
    parameter HEIGHT     = 28,
    parameter WIDTH      = 28,
    parameter CHANNELS   = 3,
    parameter KERNEL     = 2,         // rows and columns
    parameter STRIDE     = 2,
    parameter PADDING    = 0,         // less than KERNEL
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // input pixels a beat, see sliding_window
    parameter PACE       = (CHANNELS + LANES - 1) / LANES,  // clocks between windows, or fewer
    parameter OUT_PIXELS = (PIXELS > STRIDE) ? PIXELS / STRIDE : 1
) (
    input  wire                          clk,
    input  wire                          rst,
    input  wire [8*PIXELS*LANES-1:0]     s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,
    output wire [8*OUT_PIXELS*LANES-1:0] m_axis_tdata,
    output wire                          m_axis_tlast,
    output wire                          m_axis_tvalid,
    input  wire                          m_axis_tready
);

    localparam TAPS        = KERNEL * KERNEL;
    localparam LEVELS      = (TAPS > 1) ? $clog2(TAPS) : 1;  // of the tree
    localparam GROUPS      = (CHANNELS + LANES - 1) / LANES;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam PADDED      = GROUPS * LANES;  // channels, with the unused lanes of the last beat
    localparam [GROUP_WIDTH-1:0] GROUP_LAST = GROUPS[GROUP_WIDTH-1:0] - 1'b1;

    wire [8*OUT_PIXELS*TAPS*CHANNELS-1:0] window;
    wire                                  window_last, window_valid;

    // The pipeline moves or holds together. Bit i of these stands beside level i of the tree.
    reg  [LEVELS:1] valid_reg = 0;
    reg  [LEVELS:1] last_reg;
    wire            enable = !valid_reg[LEVELS] || m_axis_tready;

    reg  [GROUP_WIDTH-1:0] group_reg  = 0;
    wire                   group_last = group_reg == GROUP_LAST;

    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .LANES(LANES), .PIXELS(PIXELS), .PACE(PACE)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(window), .m_window_last(window_last), .m_window_valid(window_valid),
        .m_window_ready(enable && group_last)
    );

    assign m_axis_tvalid = valid_reg[LEVELS];
    assign m_axis_tlast  = last_reg[LEVELS];

    wire [LEVELS:0] valid = {valid_reg, window_valid};
    wire [LEVELS:0] last  = {last_reg, window_last && group_last};
    wire            unused = &{1'b0, valid[LEVELS], last[LEVELS]};

    always @(posedge clk) begin
        if (enable) begin
            if (window_valid)
                group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
            valid_reg <= valid[LEVELS-1:0];
            last_reg  <= last[LEVELS-1:0];
        end
        if (rst) begin
            group_reg <= 0;
            valid_reg <= 0;
        end
    end

    genvar pixel, tap, lane, level;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            wire [8*TAPS*LANES-1:0] taps;  // of this group of channels, channel fastest

            for (tap = 0; tap < TAPS; tap = tap + 1) begin : gen_tap
                wire [8*PADDED-1:0] channels;
                assign channels[8*CHANNELS-1:0] =
                    window[8*CHANNELS*(pixel*TAPS + tap) +: 8*CHANNELS];
                if (PADDED > CHANNELS) begin : gen_pad
                    assign channels[8*PADDED-1:8*CHANNELS] = {8*(PADDED-CHANNELS){1'b0}};
                end
                if (GROUPS > 1) begin : gen_group
                    assign taps[8*LANES*tap +: 8*LANES] = channels[8*LANES*group_reg +: 8*LANES];
                end else begin : gen_whole
                    assign taps[8*LANES*tap +: 8*LANES] = channels;
                end
            end

            // Level 0 is the taps; a node is the larger of two of the level before, or passes on the
            // odd one out.
            for (level = 0; level <= LEVELS; level = level + 1) begin : gen_level
                localparam NODES = (TAPS + (1 << level) - 1) >> level;
                wire [8*NODES*LANES-1:0] nodes;
                if (level == 0) begin : gen_taps
                    assign nodes = taps;
                end else begin : gen_larger
                    localparam BEFORE = (TAPS + (1 << (level - 1)) - 1) >> (level - 1);
                    for (tap = 0; tap < NODES; tap = tap + 1) begin : gen_node
                        localparam OTHER = (2*tap + 1 < BEFORE) ? 2*tap + 1 : 2*tap;
                        for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                            wire [7:0] one = gen_level[level-1].nodes[8*(2*tap*LANES + lane) +: 8];
                            wire [7:0] two = gen_level[level-1].nodes[8*(OTHER*LANES + lane) +: 8];
                            reg  [7:0] larger_reg;
                            always @(posedge clk)
                                if (enable)
                                    larger_reg <= (one > two) ? one : two;
                            assign nodes[8*(tap*LANES + lane) +: 8] = larger_reg;
                        end
                    end
                end
            end
            assign m_axis_tdata[8*pixel*LANES +: 8*LANES] = gen_level[LEVELS].nodes;
        end
    endgenerate

endmodule

`default_nettype wire
